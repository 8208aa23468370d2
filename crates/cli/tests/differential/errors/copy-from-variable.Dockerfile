ARG STAGE=one
FROM scratch AS one
COPY config.yaml /
FROM scratch
ARG STAGE
COPY --from=$STAGE /config.yaml /
