FROM scratch
COPY --chmod=u=rw,go= config.yaml /a
COPY --chmod=a+x config.yaml /b
COPY --chmod=u=rwX,go=rX modes /c
COPY --chmod=go-rwx,u+s links/target /d
COPY --chmod=+t modes/directory /e/
