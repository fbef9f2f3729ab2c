"""Find what could be tried next when the obvious has been tried.

words     axes and titles as people and models write them, made comparable
coupling  which axes belong together
axes      wins and losses by axis, bans that expire, the axis to try next
idea      an idea, before it is in the backlog and in it
novelty   which drafts are worth a place there
backlog   ideas that wait; a journal in the session's folder
listing   the backlog as plain text
misses    near-misses, and pairs of them
wording   the texts of the tasks
task      what the model is asked for this time: an axis, an idea, a combination, something simpler, a leap
request   the message that asks a model for several ideas at once
table     the H100's winners as ideas
refill    when the backlog is filled again, and what a reply brings
"""
