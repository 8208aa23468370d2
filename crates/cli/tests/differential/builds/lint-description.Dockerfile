# check=experimental=InvalidDefinitionDescription
# something about nothing
ARG VERSION=1
# base is right
FROM scratch AS base
COPY config.yaml /
# wrong again
FROM scratch AS last
COPY config.yaml /
