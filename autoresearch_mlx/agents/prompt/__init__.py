"""Write the prompt for a model, within a number of tokens.

brief             start here: all parts within a budget; what is left out follows a fixed order and is named
prompt_sections   each part of the prompt as text, at any level of detail; the H100's results as hints
results           the incumbent, the table of experiments, how the runs went, past failures
answer            the system message, how to answer, and the messages that ask for code or for a repair
quoting           text that others wrote, made safe to stand inside a prompt
tokens            an estimate of a text's tokens
"""
