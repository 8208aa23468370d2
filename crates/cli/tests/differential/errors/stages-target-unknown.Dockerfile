FROM scratch AS first
COPY config.yaml /
# case: target=frist
