FROM scratch
ADD --exclude=*.h src /a/
ADD --exclude=lib src /b/
