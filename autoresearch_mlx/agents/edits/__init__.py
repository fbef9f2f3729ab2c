"""Read a model's reply: fields in JSON, code in fences or search/replace blocks, and the edit that they make.

reply         start here: turns a reply and the files into edits, each with new texts or with a problem; never raises
reply_parts   a reply as lines, its prose, and the proposals in it; a file before the edit, prepared once
objects       the JSON objects in a text that have a proposal's fields
fields        title, axis, hypothesis, expected gain, knobs: their schema, and the check of values
marks         the search/replace blocks in a text
fences        the fenced blocks in a text, and the file that each block or fence is for
blocks        where a search/replace block fits in a file, or the nearest lines when it fits nowhere
whole         whether a whole new file is complete, or only a part or its constants
knob_values   knob values as a model writes them, turned into values that fit the file
gate          refusals before anything runs: syntax, undefined names, modules that are not installed
apply         the code and the knobs of one proposal, applied to the files
"""
