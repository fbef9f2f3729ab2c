"""Write the prompt for a model, within a number of tokens.

tokens    an estimate of a text's tokens
foreign   text that others wrote, made safe to stand inside a prompt
axis      the axis that a task is about
results   the incumbent, the table of experiments, how the runs went
failures  past failures with the code that failed and the end of its log
hints     the H100's results, marked as another machine's
sections  each part of the prompt as text, at any level of detail
role      the system message
answer    how to answer, and the messages that ask for code or for a repair
brief     the parts within a budget; what is cut is cut in a stated order and named
"""
