"""A client's JSON schemas: which of them may be used (`references`), whether a value meets one and where it does not
(`judge`, `validate`), and which types one leaves no doubt about (`certain`).

A schema comes from outside and meets values that a model wrote, which the same client can make it write. So nothing is
ever fetched, regular expressions take linear time, and no value takes longer than schemas times values.
"""
