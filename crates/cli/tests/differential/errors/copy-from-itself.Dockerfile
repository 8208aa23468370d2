FROM scratch AS self
COPY --from=self /a /
