FROM scratch AS first
ARG TARGETSTAGE
COPY config.yaml /${TARGETSTAGE:-none}
FROM first AS last
