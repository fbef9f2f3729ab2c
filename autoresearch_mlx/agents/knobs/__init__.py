"""Optimise the constants of the files without a language model: the agent ``knobs``.

ranges, space            which constants may move, and the place of each value in its range
memory                   past experiments as points of the search space, each with its outcome
coordinates, interest    points as rows of numbers; how much each knob is expected to matter at the start
region                   the trust region: how far each knob may move, and what each knob has gained; each trial as a
                         step from the closest earlier point
kernel, surrogate        what a step is expected to gain, with scales that are estimated from the measurements
failures                 how likely a run is to fail, given its memory, its step and the outcomes of nearby runs
outlook                  all models and the trust region together, for ranking moves; the point where moves start
range_notes              an explanation for each range comment that has no effect
moves, joint_moves       candidate steps of one knob, of two knobs that belong together, and of several knobs
fresh_moves              the candidates that have not been tried yet, best first
naming                   a move's name: the largest step first, and the experiment that the move starts from
ranked_moves             the best candidates as a list over different axes: RankedMove, ranked_moves(context)
choices                  a shuffled menu of the ranked moves, and a few values of each knob, for a small model
knobs_agent              proposes the best candidate
state_summary            the optimiser's knowledge as text for a language model
"""
