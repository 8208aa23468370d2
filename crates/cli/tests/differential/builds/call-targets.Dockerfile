# base what all is built on
FROM scratch AS base
COPY config.yaml /
FROM base
COPY package.json /
# last is the default
FROM --platform=linux/arm64 base AS last
# case: call=targets
