"""Write the prompt for a model, within a number of tokens.

brief             start here: assembles the parts; if the prompt is too long, leaves out parts and names them
prompt_sections   each part of the prompt as text, at any level of detail; the H100's results as hints
results           the incumbent, the table of experiments, how the runs went, past failures
short             the two short prompts, which show no file: a menu of moves, and values of the knobs
elsewhere         how often a kind of change was kept on an H100 and on Macs, in a few words
answer            the system message, how to answer, and the messages that ask for code or for a repair
quoting           makes text that others wrote safe inside a prompt
tokens            estimates the number of tokens of a text
"""
