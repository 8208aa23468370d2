FROM scratch
ARG MODE=600
COPY --chmod=640 config.yaml /a
COPY --chmod=0755 src /b
COPY --chmod=4711 config.yaml /c/d/e
COPY --chmod=7755 modes /f
COPY --chmod=$MODE config.yaml /g
