"""The doctor: what is wrong with an environment, a home, a journal or a policy, and what to do about it.

Its promise: each finding is one sentence that says both, and nothing that is examined is changed. Facts are read
apart from the judgement of them, which is pure. Source: rule W3.
"""
