FROM scratch
COPY config.yaml /
ENV key value
LABEL key value
ARG fine=1
