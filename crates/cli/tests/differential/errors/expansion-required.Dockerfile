FROM scratch
ARG NEEDED
COPY config.yaml /${NEEDED:?give it by an argument}
