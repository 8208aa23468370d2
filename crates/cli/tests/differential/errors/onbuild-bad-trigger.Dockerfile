FROM scratch AS parent
ONBUILD COPYY a b
FROM parent
COPY config.yaml /
