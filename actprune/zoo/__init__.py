"""Small trained networks and data for trying things out; nothing is downloaded."""

from actprune.zoo.cache import trained as trained
from actprune.zoo.entry import Entry as Entry
from actprune.zoo.package import PACKAGES as PACKAGES
from actprune.zoo.registry import ZOO as ZOO
