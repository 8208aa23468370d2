FROM scratch AS first
COPY config.yaml /
LABEL first=1
FROM scratch AS second
COPY missing-but-unused /
# case: target=first
