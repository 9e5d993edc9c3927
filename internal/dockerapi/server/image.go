package server

var imageRoutes = []route{}
