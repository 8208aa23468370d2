FROM scratch
ADD --link archives/tree.tar /a/
ADD --link --chown=4:5 config.yaml /b/
