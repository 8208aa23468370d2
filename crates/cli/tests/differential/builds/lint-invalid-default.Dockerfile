ARG VERSION
FROM scratch AS base
COPY config.yaml /
FROM base${VERSION}
COPY package.json /
