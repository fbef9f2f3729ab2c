"""Read a model's reply: fields in JSON, code in fences, and the edit that they make.

objects   the JSON objects in a text that bear a proposal's fields
fields    title, axis, hypothesis, expected gain, knobs: the schema, and its check
marks     search/replace blocks in a text, as they stand there
fences    fenced blocks of a text, and the file each is for
aims      which file a block or a fence is for
page      a reply as lines: its blocks, its fences, its prose, and the proposals in it
values    knobs as a model writes them -> values that fit the file
blocks    search and replace: where a block fits, and the text after it
nearest   a block that fits nowhere, beside the lines that come nearest
whole     a whole new file: is it whole, or only its constants?
survey    the names that a Python file defines, reads and imports
original  a file before the edit, prepared once
gate      what is refused before anybody runs it: syntax, names, imports
changes   the code and the knobs of one proposal -> the new texts of files
reply     a reply's text and the files -> edits with a problem or without; never raises
"""
