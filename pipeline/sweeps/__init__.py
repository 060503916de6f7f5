"""Many trainings and compressions as one experiment: one file says what is searched, on one machine or on many.

In the order to read: `space`, what may vary; `sweep_file`, the experiment; `jobs`, the pieces of work that it is made of, each
of which depends on nothing but what it says; `store`, where they lie when they are done; `engines`, who does them; `record`,
what was tried, as Optuna's study; `sweep`, which goes on asking until the budget is spent, and `dispatch`, which has it done;
`curves`, by which trainings are given up; `results`, `timing`, `many_seeds` and `page`, what came of it; `experiment`, its
folder.
"""
