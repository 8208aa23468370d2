FROM scratch AS one
COPY src /one/
FROM scratch AS two
COPY --from=one /one/main.c /two/
COPY --from=0 one /all
FROM scratch
COPY --from=two / /
COPY --from=one --chown=9:9 --chmod=600 one/*.h /headers/
