FROM scratch
ADD --keep-git-dir=maybe config.yaml /
