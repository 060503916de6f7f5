"""The steps of one training, collected by several actors of a Ray cluster: an experiment that replaces no default.

In the order to read: `config`, what is asked; `chunks`, what an actor sends; `published`, what it plays with, which
`publishing` makes of the learner's network; `collector`, which runs in the process of an actor; `actors`, which asks them and
gives their steps to the training as if it had taken them itself; `record`, what that came to; `cluster`, which is joined.
"""
