"""Propose edits as a team: a chief gives tasks (*briefs*) to *juniors*, which are other agents.

team_agent   start here: whose turn it is, which briefs are open, and what the juniors answered
brief        a brief, and the context of an agent that works on it
agenda       what the chief knows from the history: axes with counts and expected gains, exhausted axes, near misses
chief        writes the next brief by fixed rules; a model may word its question and order the axes
bracket      two follow-ups of a clear gain, without a model: the midpoint of the step, and half a step beyond its end
register     the open briefs, their axes, and their lines in the ledger
critic       a model that drops or reorders proposals before anything is measured
hire_team    makes a team from its settings
"""
