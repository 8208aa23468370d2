FROM scratch AS one
COPY src /src
FROM scratch
COPY --from=one /missing /
