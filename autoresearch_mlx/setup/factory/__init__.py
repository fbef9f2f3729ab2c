"""Make verified agents from posts in which people describe problems (the command ``factory``).

line          start here: all stages in order, from the posts to the folders that are shipped
steps         the stages of one problem
ledger        the factory's ledger: its events, which are replayed into one value
collect       reads posts from folders, JSON, feeds and exports (``exports``, ``feeds``)
evidence      removes copies of posts (``near``), and counts independent evidence
asking        asks a model for JSON or files, and names the fault of a reply
problems, specs, cases, build    the stages in which a model writes something; ``prompts`` has the questions
verify, improve, ship            the stages in which something is measured
ask           asks a shipped agent a question
page          the page and the lines of ``factory status``
"""
