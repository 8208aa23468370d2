ARG GLOBAL=1
# base what all is built on
FROM scratch AS base
# NAME how it is named
ARG NAME=x
ARG OTHER
COPY config.yaml /
FROM base AS last
ARG GLOBAL
RUN --mount=type=secret,id=token,required --mount=type=ssh --mount=type=cache,target=/c true
RUN --mount=type=secret,id=other true
# case: call=outline
# case: build-arg=OTHER=given
