ARG VERSION=global
FROM scratch AS one
COPY config.yaml /none-$VERSION
ARG VERSION
COPY config.yaml /global-$VERSION
FROM one
COPY config.yaml /not-inherited-$VERSION
ARG VERSION=own
COPY config.yaml /own-$VERSION
