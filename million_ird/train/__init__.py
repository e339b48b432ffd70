"""Pre-training and adapting the networks: `mird train`.

from million_ird.train.run import train
from million_ird.train.settings import load_config
"""
