"""Claims about TensorPlan: planning with a simulator, where the optimal values are linear in features.

The sources: Szepesvári's lecture Planning under v* realizability (TensorPlan I.), and the paper that it teaches,
Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, On Query-Efficient Planning in MDPs under Linear
Realizability of the Optimal State-Value Function, COLT 2021. Signs and formulas that the lecture's text has lost are
restored.
"""

from . import tensorplan_data, tensorplan_planning

CLAIMS = (*tensorplan_planning.CLAIMS, *tensorplan_data.CLAIMS)
