"""Read a model's reply: fields in JSON, and code in fences or search/replace blocks.  Make an edit of the reply.

reply         start here: turns a reply and the files into edits, each with new texts or a problem; raises nothing
reply_parts   splits a reply into its prose and its proposals, and prepares a file for edits
objects       finds the JSON objects in a text that have a proposal's fields
choices       reads a choice from a menu, and defines the schemas of a choice and of knob values
example       makes the example of an answer from the lab's own knobs, and recognises a copy of the example
fields        checks title, axis, hypothesis, expected gain and knobs, and defines the schema of these fields
marks         finds the search/replace blocks in a text
fences        finds the fenced blocks in a text, and the file that each block or fence is for
blocks        finds where a search/replace block fits in a file, or the nearest lines when it fits nowhere
whole         checks whether a new file is complete, or only a part of the file, or only its constants
knob_values   turns the knob values that a model writes into values that fit the file
gate          refuses edits before anything runs: syntax, undefined names, modules that are not installed
apply         applies the code and the knobs of one proposal to the files
"""
