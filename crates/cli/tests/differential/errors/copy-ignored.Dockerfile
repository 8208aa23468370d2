FROM scratch
COPY secrets/key /
