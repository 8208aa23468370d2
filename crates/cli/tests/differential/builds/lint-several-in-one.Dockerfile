from scratch as Base
COPY config.yaml /
Maintainer me
WORKDIR here
ENV password secret
CMD $x
