FROM scratch
COPY --from=other lib /lib
COPY --from=other --chmod=700 main.c /
# case: build-context=other=context/src
