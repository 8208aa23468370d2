ARG GLOBAL=1
FROM scratch AS base
ARG NAME=$GLOBAL
COPY config.yaml /
# first the stage that is asked for
FROM base AS first
ARG GLOBAL=2
FROM base AS last
ARG UNUSED
# case: call=outline
# case: target=first
