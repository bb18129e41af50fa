"""Decoding of untrusted image files into pixels.

`scan` finds them in a folder, `open_image` opens them, `formats` says what they are by their first bytes,
`memory_budget` what decoding them takes, `decoding` decodes them, and `preparation` makes `uint8 [224, 224,
3]` of them.
"""
