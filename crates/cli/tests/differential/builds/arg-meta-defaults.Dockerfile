ARG A=1
ARG B=${A}2
ARG C=${B:-x}3
FROM scratch AS stage
ARG C
COPY config.yaml /$C
