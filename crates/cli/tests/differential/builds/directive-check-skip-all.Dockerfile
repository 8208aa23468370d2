# check=skip=all
from scratch as X
COPY config.yaml /
MAINTAINER someone
CMD run it
