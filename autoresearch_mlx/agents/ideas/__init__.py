"""Decide what a model is asked to try next.

choose_task   start here: an axis, an idea, a combination, something simpler, or a leap
task_texts    the texts of the tasks
axes          wins and losses by axis, temporary bans, which axes belong together, the axis to try next
axis_names    makes axes and titles comparable, because people and models write them in many ways
idea          an idea before and after it enters the backlog, and which drafts are added to the backlog
backlog       the waiting ideas: a journal in the session's folder
listing       the backlog as plain text
misses        near misses, and pairs of them to combine
refill        when to refill the backlog, what to ask the model for, and how the reply is read
h100_ideas    the H100's winners as ideas
"""
