"""Which units to remove first: one plain function a criterion, listed in `catalog`."""

from actprune.planning.criteria.catalog import CATALOG as CATALOG
from actprune.planning.criteria.catalog import CRITERIA as CRITERIA
from actprune.planning.criteria.catalog import Entry as Entry
from actprune.planning.criteria.catalog import named as named
from actprune.planning.criteria.effective import effective_number as effective_number
from actprune.planning.criteria.ranking import Criterion as Criterion
from actprune.planning.criteria.ranking import Evidence as Evidence
from actprune.planning.criteria.ranking import Ranking as Ranking
from actprune.planning.criteria.ranking import Sizes as Sizes
from actprune.planning.criteria.ranking import by as by
