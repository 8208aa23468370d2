FROM scratch AS Upper
COPY config.yaml /
MAINTAINER me
COPPY config.yaml /
