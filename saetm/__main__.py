"The command line, for `python -m saetm` and `torchrun -m saetm`."
from .cli import main

raise SystemExit(main())
