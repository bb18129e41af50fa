"""Files become pixels, and no file is trusted.

`scan` finds them in a folder, `files` opens them, `formats` says what they are by their first bytes, `costs`
what decoding them takes, and `decoding` makes `uint8 [224, 224, 3]` of them.
"""
