FROM scratch
COPY config.yaml /${UNFINISHED
