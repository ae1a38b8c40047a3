"""What is done to windows without labels, of which a network is to say the same as before.

A new way to mix windows is a file here, or a function in `mixing.py`, and a line in `MIXINGS`.
"""
