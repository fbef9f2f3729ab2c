"""Read a model's reply: fields in JSON, code in fences or search/replace blocks, and the edit that they make.

reply         start here: turns a reply and the files into edits, each with new texts or a problem; raises nothing
reply_parts   splits a reply into its prose and its proposals, and prepares a file for edits
objects       finds the JSON objects in a text that have a proposal's fields
choices       reads a choice from a menu, and defines the schemas of a choice and of knob values
example       makes the example of an answer from the lab's own knobs, and recognises its copy
fields        checks title, axis, hypothesis, expected gain and knobs, and defines their schema
marks         finds the search/replace blocks in a text
fences        finds the fenced blocks in a text, and the file that each block or fence is for
blocks        finds where a search/replace block fits in a file, or the nearest lines when it fits nowhere
whole         checks whether a whole new file is complete, or only a part of it or its constants
knob_values   turns knob values as a model writes them into values that fit the file
gate          refuses edits before anything runs: syntax, undefined names, modules that are not installed
apply         applies the code and the knobs of one proposal to the files
"""
