"""A chief that gives briefs to juniors; each junior is one of the other agents.

team_agent   start here: whose turn it is, which briefs are out, and what came back
brief        a brief, and the context of an agent that has one
agenda       axes with counts and expected gains, exhausted axes, near misses: what the chief knows, from the history
chief        writes the next brief by a policy; a model may word its question and order the axes
bracket      the midpoint and the half overshoot of a clear gain, without a model
register     the briefs that are out, their axes, and their lines in the ledger
critic       a model that drops or reorders proposals before anything is measured
hire_team    makes a team from its settings
"""
