"""Make verified agents from posts in which people describe problems (the command ``factory``).

line          start here: runs all stages in order, from the posts to the shipped agents
steps         runs the stages of one problem
ledger        writes the factory's ledger, and reads the factory's state from its events
collect       reads posts from folders, JSON, feeds and exports (``exports``, ``feeds``)
evidence      removes copies of posts (``near``), and counts independent evidence
asking        asks a model for JSON or files, and names the fault of a reply
problems, specs, cases, build    the stages in which a model writes; ``prompts`` has the questions to the model
verify, improve, ship            the stages in which the agent is measured
ask           asks a shipped agent a question
page          makes factory.html and the lines of ``factory status``
"""
